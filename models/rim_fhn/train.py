"""Train RIM's hallucination sub-net FHN, low resolution to 224 pixels; see meetmid/models/recipes/hallucination.py.

    python models/rim_fhn/train.py --out WORK/rim_fhn [--source LOW --target HIGH]

Source pictures are already enlarged to the target's size (28 pixels to 224 in the paper). Landmarks are any K (194 for Helen, 5
here). RMSprop at 1e-3 as published; the rate falls linearly in the second half, where the public code lowers it by 1 % per
epoch. Pictures are turned by up to 10 degrees and their contrast and brightness changed by up to 20 %.
"""

from meetmid.models.recipes.batches import Augmentation
from meetmid.models.recipes.hallucination import FHNRecipe, add_options
from meetmid.models.recipes.running import command_line, run


def main() -> None:
    """Command line of the recipe."""
    parser = command_line(
        __doc__, size=224, batch=6, rate=1e-3, epochs=200, augmentation=Augmentation(rotation=10.0, contrast=0.2)
    )
    parser.add_argument("--landmarks", type=int, default=5)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--separate-priors", action="store_true", help="a path each for landmarks and parsing")
    add_options(parser)
    run(FHNRecipe, parser.parse_args())


if __name__ == "__main__":
    main()
