"""Train the pointer; see meetmid/models/recipes/pointing.py."""

from meetmid.models.recipes.pointing import main

if __name__ == "__main__":
    main()
