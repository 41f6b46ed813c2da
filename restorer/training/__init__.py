"""How is it made? Recipes, data, degradations, losses and the loops of each kind of network.

`restorer.training.recipe.load_recipe` reads a TOML file, `restorer.training.train.train` carries it out.
"""
