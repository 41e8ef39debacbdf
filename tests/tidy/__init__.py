"""What no linter knows: sizes, names, texts and places that this project keeps to."""
