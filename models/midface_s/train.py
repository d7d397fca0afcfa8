"""Train and publish midface-s; see meetmid/models/recipes/distillation.py."""

from meetmid.models.recipes.distillation import main

if __name__ == "__main__":
    main()
