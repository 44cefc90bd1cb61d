"""The XML of Aperio ImageScope, whose layers hold a class each."""

from unetkit.data.annotations.text_files import read_imagescope


def test_regions_of_imagescope_are_told_apart_by_their_layers() -> None:
    corners = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ((1, 1), (9, 1), (9, 9)))
    own = '<Attributes><Attribute Name="Area" Value="3"/></Attributes>'
    region = f'<Region Type="0">{own}<Vertices>{corners}</Vertices></Region>'
    layers = [
        f'<Annotation Name=""><Attributes><Attribute Name="{name}"/></Attributes><Regions>{region * count}'
        f'<Region Type="3"><Vertices>{corners}</Vertices></Region>'
        f'<Region Type="0" NegativeROA="1"><Vertices>{corners}</Vertices></Region></Regions></Annotation>'
        for name, count in (("Epithelial", 1), ("Lymphocyte", 2))
    ]
    (image,) = read_imagescope(f"<Annotations>{''.join(layers)}</Annotations>".encode(), "a.xml")
    assert [shape.name for shape in image.shapes] == ["Epithelial", "Lymphocyte", "Lymphocyte"]
    assert image.left_out == {"arrow": 2, "hole": 2}
