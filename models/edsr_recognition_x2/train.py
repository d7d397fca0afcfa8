"""Train and publish edsr-recognition-x2; see meetmid/models/recipes/recognisable.py."""

from meetmid.models.recipes.recognisable import main

if __name__ == "__main__":
    main(scale=2, steps=1500)
