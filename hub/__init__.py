"""Model cards, publishing and what runs on the Hub."""
