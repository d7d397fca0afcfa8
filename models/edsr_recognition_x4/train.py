"""Train and publish edsr-recognition-x4; see meetmid/models/recipes/recognisable.py."""

from meetmid.models.recipes.recognisable import main

if __name__ == "__main__":
    main(scale=4, steps=1500)
