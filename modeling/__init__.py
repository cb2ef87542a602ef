"""What ships to the Hub with a model: torch, transformers, the standard library and siblings are all that is imported."""
