"""Fine-tune RIM's FHN and HRN together, after each was trained alone; see meetmid/models/recipes/joint.py.

    python models/rim_joint/train.py --out WORK/rim --fhn FHN/weights.pt --hrn HRN/weights.pt --teacher IR50.pth

RMSprop at 1e-4 (networks.md section 8.4). The two networks are written as fhn.pt and hrn.pt, which `meetmid export` takes.
"""

from pathlib import Path

from meetmid.models.recipes import hallucination, residual
from meetmid.models.recipes.batches import Augmentation
from meetmid.models.recipes.joint import JointRecipe
from meetmid.models.recipes.running import command_line, run


def main() -> None:
    """Command line of the recipe."""
    parser = command_line(
        __doc__, size=224, batch=6, rate=1e-4, epochs=20, augmentation=Augmentation(rotation=10.0, contrast=0.2)
    )
    parser.add_argument("--fhn", type=Path, required=True, help="weights.pt of models/rim_fhn/train.py")
    parser.add_argument("--hrn", type=Path, required=True, help="weights.pt of models/rim_hrn/train.py")
    parser.add_argument("--sum-at", choices=("embedding", "map"), default="embedding")
    hallucination.add_options(parser)
    residual.add_options(parser)
    run(JointRecipe, parser.parse_args())


if __name__ == "__main__":
    main()
