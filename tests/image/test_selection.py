"""What is left out of a picture's metadata changes neither its colours nor which way up it lies."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from batch.pictures import EXIF_TURNED
from regrain import image
from regrain.errors import UsageError
from regrain.image import profiles
from regrain.image.formats import orientation
from regrain.options import BLOCKS, STRIPPED, check_blocks

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='r'/></x:xmpmeta>"
XMP_TURNED = XMP.replace(b"<rdf:RDF", b"<rdf:RDF tiff:Orientation='6'")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WIDE = profiles.profile_of_chunks(0.55, (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06), grey=False)


def gps_block(lie=6):
    block = Image.Exif()
    block[0x0112] = lie
    block[0x010F] = "a camera"
    block.get_ifd(0x8825)[2] = (48.0, 51.0, 29.6)
    return block.tobytes().removeprefix(b"Exif\0\0")


def picture(**blocks):
    return image.Picture(PIXELS, None, image.Metadata(**blocks))


def test_everything_is_kept_unless_somebody_says_otherwise():
    full = picture(exif=gps_block(), icc=SRGB, xmp=XMP)
    assert image.select_metadata(full, BLOCKS).metadata == full.metadata


def test_stripped_of_all_but_profile_and_orientation():
    stripped = image.select_metadata(picture(exif=gps_block(), icc=SRGB, xmp=XMP), STRIPPED)
    meta = stripped.metadata
    assert (meta.icc, meta.xmp) == (SRGB, None)
    assert (stripped.pixels == PIXELS).all()
    kept = Image.Exif()
    kept.load(meta.exif)
    assert dict(kept) == {0x0112: 6}
    assert b"camera" not in meta.exif
    assert len(meta.exif) == 26
    assert image.read(stripped.to_pillow()).metadata.exif == meta.exif


def test_a_picture_that_lies_upright_keeps_no_exif_at_all():
    assert image.select_metadata(picture(exif=gps_block(1)), STRIPPED).metadata == image.Metadata()


@pytest.mark.parametrize("lie", range(1, 9))
@pytest.mark.parametrize("keep", [(), ("xmp",), ("exif",), ("icc", "xmp")])
@pytest.mark.parametrize("xmp", [None, XMP, XMP_TURNED])
def test_the_orientation_stays_whatever_is_left_out(lie, keep, xmp):
    full = picture(exif=struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, 0x0112, 3, 1, lie, 0, 0), xmp=xmp)
    assert orientation(full.metadata) == lie
    assert orientation(image.select_metadata(full, keep).metadata) == lie
    alone = picture(xmp=xmp)
    kept = image.select_metadata(alone, keep).metadata
    assert orientation(kept) == orientation(alone.metadata)


def test_without_its_profile_the_colours_are_those_of_srgb():
    wide = picture(icc=WIDE)
    plain = image.select_metadata(wide, ("exif",))
    assert plain.metadata.icc is None
    assert (plain.pixels == profiles.to_srgb(PIXELS, WIDE)).all()
    assert (plain.pixels != PIXELS).any()


def test_other_names_are_refused():
    assert check_blocks(("xmp", "exif")) == ("exif", "xmp")
    for wrong in ("icc", ["gps"]):
        with pytest.raises(UsageError, match="allowed are any of exif, icc, xmp"):
            check_blocks(wrong)


def test_the_block_reads_back_from_a_file():
    buffer = io.BytesIO()
    image.write(image.select_metadata(picture(exif=EXIF_TURNED, xmp=XMP), ()), buffer, format="JPEG")
    assert Image.open(buffer).getexif()[0x0112] == 6
