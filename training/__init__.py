"""Documents → a trained and measured model: options, families, features, Trainer, scores."""
