import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.errors import UsageError
from unetkit.models.geometry import Geometry, Layout, Up, unet_geometry, unetpp_geometry

PAPER = unet_geometry(Layout(depth=4, valid=True), whole_image=False)
UPS: list[tuple[Up, int]] = [
    ("deconv", 2),
    ("deconv", 3),
    ("bilinear", 1),
    ("bilinear", 3),
    ("bilinear-legacy", 1),
    ("bilinear-legacy", 3),
]
layouts = st.builds(
    lambda up, **fields: Layout(up=up[0], up_kernel=up[1], **fields),
    up=st.sampled_from(UPS),
    depth=st.integers(1, 4),
    downscale=st.sampled_from([1, 2, 4]),
    valid=st.booleans(),
    decoder_convs=st.sampled_from([1, 2]),
)


def test_paper_network_has_the_sizes_of_its_drawing() -> None:
    assert (PAPER.multiple, PAPER.offset, PAPER.margin, PAPER.overlap) == (16, 12, 92, 0)
    assert PAPER.valid_output_size(572) == 388
    assert PAPER.fitting_input_size(388) == 572
    assert PAPER.fitting_input_size(512) == 700
    layout = Layout(depth=4, valid=True)
    assert [layout.crop(level) for level in range(4)] == [88, 40, 16, 4]


def test_input_that_valid_convolutions_use_up_is_refused() -> None:
    assert PAPER.valid_output_size(185) == 1
    with pytest.raises(UsageError, match=r"found an image 184 pixels .* use up 184"):
        PAPER.valid_output_size(184)


@given(layout=layouts, size=st.integers(1, 3000))
def test_fitting_input_is_the_smallest_whose_output_covers(layout: Layout, size: int) -> None:
    geometry = unet_geometry(layout, whole_image=False)
    fitting = geometry.fitting_input_size(size)
    assert geometry.valid_output_size(fitting) >= size > fitting - 2 * geometry.margin - geometry.multiple
    assert fitting % geometry.multiple == geometry.offset
    assert geometry.padded_size(fitting) == fitting


@given(layout=layouts, size=st.integers(1, 300))
def test_fitting_sizes_halve_and_join_without_remainder(layout: Layout, size: int) -> None:
    side = unet_geometry(layout, whole_image=False).fitting_input_size(size)
    assert side % layout.downscale == 0
    loss = 2 * layout.block_loss
    skips = [side // layout.downscale - loss]
    for _ in range(layout.depth):
        assert skips[-1] % 2 == 0
        skips.append(skips[-1] // 2 - loss)
    below = skips.pop()
    for level in reversed(range(layout.depth)):
        up = 2 * below - (2 if layout.valid and layout.up != "deconv" and layout.up_kernel == 3 else 0)
        assert up == skips.pop() - 2 * layout.crop(level)
        below = up - (2 * layout.decoder_convs if layout.valid else 0)
        assert below > 0
    assert below * layout.downscale >= size


@given(layout=layouts)
def test_overlap_is_within_the_halo(layout: Layout) -> None:
    geometry = unet_geometry(layout, whole_image=False)
    assert geometry.halo is not None
    assert geometry.overlap is not None
    known = Geometry(geometry.multiple, geometry.offset, geometry.halo, geometry.margin)
    assert known.overlap is not None
    assert 0 <= geometry.overlap <= known.overlap < geometry.halo + geometry.multiple


def test_norms_over_the_whole_image_have_no_halo() -> None:
    for geometry in (
        unet_geometry(Layout(depth=2), whole_image=True),
        unetpp_geometry(Layout(depth=2), head=1, whole_image=True),
    ):
        assert geometry.halo is None
        assert geometry.overlap is None


def test_a_nested_network_sees_as_far_as_a_plain_one_of_the_depth_of_its_head() -> None:
    for head in (1, 2, 3, 4):
        nested = unetpp_geometry(Layout(depth=4), head=head, whole_image=False)
        plain = unet_geometry(Layout(depth=head), whole_image=False)
        assert (nested.halo, nested.disturbed) == (plain.halo, plain.disturbed)
        assert nested.multiple == 16
