"""Train the probe network of the pair slimface; see meetmid/models/recipes/pair.py."""

from meetmid.models.recipes.pair import main

if __name__ == "__main__":
    main("probe")
