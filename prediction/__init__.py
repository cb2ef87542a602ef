"""A trained model, loaded safely, and what it finds in collections of documents."""
