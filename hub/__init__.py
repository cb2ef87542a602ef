"""A model, the corpora or the demo page → the Hub."""
