"""Make and publish midface-s-int8; see meetmid/models/recipes/eight_bits.py."""

from meetmid.models.recipes.eight_bits import main

if __name__ == "__main__":
    main("midface_s")
