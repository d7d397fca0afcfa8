"""Train RIM's recognition sub-net HRN, a student and its assistant; see meetmid/models/recipes/residual.py.

    python models/rim_hrn/train.py --out WORK/rim_hrn --teacher IR50.pth [--fhn WORK/rim_fhn/weights.pt]

The probe passes FHN (--fhn; without it the enlarged picture is used as it is), then student and assistant; the gallery passes
the teacher. RMSprop at the public code's 1e-4, its rotation by up to 10 degrees and its change of contrast and brightness.
"""

from pathlib import Path

from meetmid.models.recipes.batches import Augmentation
from meetmid.models.recipes.residual import HRNRecipe, add_options
from meetmid.models.recipes.running import command_line, run


def main() -> None:
    """Command line of the recipe."""
    parser = command_line(
        __doc__, size=224, batch=32, rate=1e-4, epochs=100, augmentation=Augmentation(rotation=10.0, contrast=0.2)
    )
    parser.add_argument("--fhn", type=Path, help="weights.pt of models/rim_fhn/train.py")
    parser.add_argument("--blocks", type=int, nargs=4, default=[3, 4, 6, 3])
    parser.add_argument("--widths", type=int, nargs=4, default=[64, 128, 256, 512])
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--sum-at", choices=("embedding", "map"), default="embedding")
    add_options(parser)
    run(HRNRecipe, parser.parse_args())


if __name__ == "__main__":
    main()
