"""Train the face finder; see meetmid/models/recipes/finding.py."""

from meetmid.models.recipes.finding import main

if __name__ == "__main__":
    main()
