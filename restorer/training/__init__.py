"""Training: recipes, data, degradations, losses and the loops of each kind of network.

`restorer.training.recipe.load_recipe` reads a TOML file, `restorer.training.run.train` carries it out.
"""
