"""Train and publish edsr-face-x4; see meetmid/models/recipes/super_resolution.py."""

from meetmid.models.recipes.super_resolution import main

if __name__ == "__main__":
    main(scale=4)
