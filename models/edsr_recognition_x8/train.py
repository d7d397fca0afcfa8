"""Train and publish edsr-recognition-x8; see meetmid/models/recipes/recognisable.py."""

from meetmid.models.recipes.recognisable import main

if __name__ == "__main__":
    main(scale=8, steps=1000)
