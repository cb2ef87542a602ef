"""Models, windows and training: see CONTRIBUTING.md for the room plan. Files that ship to the Hub use only siblings."""
