"""The checks, in the order in which they are made."""

from collections.abc import Callable, Iterator

from unetkit.doctor import image_checks, label_checks, set_checks
from unetkit.doctor.exam import Exam
from unetkit.doctor.findings import Finding

Check = Callable[[Exam], Iterator[Finding]]

ESSENTIAL: dict[str, Check] = {
    "files": image_checks.unreadable,
    "kinds": image_checks.different_kinds,
    "constant": image_checks.constant,
    "labels": label_checks.unlabelled,
    "one class": set_checks.one_class,
    "small": image_checks.small,
}
"""What would stop a training, and what costs nothing to see."""

CLOSE: dict[str, Check] = {
    "two-valued": image_checks.two_valued,
    "few levels": image_checks.few_levels,
    "narrow": image_checks.narrow,
    "squeezed": image_checks.squeezed,
    "units": image_checks.other_units,
    "saturated": image_checks.saturated,
    "light": image_checks.odd_light,
    "flat": image_checks.flat,
    "absent classes": set_checks.absent_classes,
    "rare classes": set_checks.rare_classes,
    "unseen classes": set_checks.unseen_classes,
    "empty": label_checks.empty_masks,
    "palettes": label_checks.palettes,
    "blurred": label_checks.blurred,
    "inverted": label_checks.inverted,
    "askew": label_checks.askew,
    "stray": label_checks.stray,
    "duplicates": set_checks.duplicates,
    "leakage": set_checks.leakage,
    "neighbours": set_checks.neighbours,
    "touching": label_checks.touching,
    "specks": label_checks.specks,
    "object sizes": label_checks.object_sizes,
}
"""What may spoil the worth of a training."""

CHECKS = ESSENTIAL | CLOSE
