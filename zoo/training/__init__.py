"""Training: recipes, the loop, and what a trained network is worth."""
