"""Train the reader of what is worn; see meetmid/models/recipes/wearing.py."""

from meetmid.models.recipes.wearing import main

if __name__ == "__main__":
    main()
