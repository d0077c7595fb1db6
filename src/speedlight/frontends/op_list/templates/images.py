"""Input pipelines: JPEG decoding, resizing, normalising."""

from __future__ import annotations

from ...._foundation.expr import Expr
from ....graph.ir import Work
from ..site import Site, streamed, vector
from .template import number_format, size, statistic, template, tensor, word


@template(
    "images", images=size("at once"), height=size("of an image"), width=size("of an image"),
    density=statistic("compressed bits a pixel", 0.5, 3.0, "assumed: photographs at quality 50 to 95"),
    home=word("where the compressed bytes are", "main", "host"), x=tensor("the compressed bytes"),
)  # fmt: skip
def jpeg_decode(site: Site, images: Expr, height: Expr, width: Expr, density: Expr, home: str, x: str | None) -> None:
    """Baseline JPEG: entropy decoding (unit ``codec`` where a machine has one), inverse transform, colour.

    4:2:0 sampling has 1.5 samples a pixel; an 8 × 8 inverse transform of 16 one-dimensional ones of 34 operations
    (Arai, Agui and Nakajima, 1988: 29 additions, 5 products) is 8.5 a sample; dequantisation 1, up-sampling and colour 12 a
    pixel: ITU-T T.81 and T.871. 8 integer operations a compressed bit decode it, assumed.
    """
    pixels = images * height * width
    source = site.source(x, "x", pixels * density / 8, "uint8", "input", home)
    site.op(
        "other", "jpeg_decode", reads=[streamed(source, pixels * density / 8)], writes=[site.result(pixels * 3, "uint8")],
        work=[Work("codec", 8 * density * pixels, "int32"), vector(pixels * (1.5 * 9.5 + 12))],
        dims={"rows": images, "width": height * width},
    )  # fmt: skip


@template(
    "images", images=size("at once"), in_h=size("height before"), in_w=size("width before"), out_h=size("height after"),
    out_w=size("width after", "out_h"), channels=size("of a pixel", 3), taps=size("pixels that make one", 4), x=tensor("the images"),
)  # fmt: skip
def resize(
    site: Site, images: Expr, in_h: Expr, in_w: Expr, out_h: Expr, out_w: Expr, channels: Expr, taps: Expr, x: str | None
) -> None:  # fmt: skip
    """Resize by interpolation: 2·taps FLOPs a value (4 taps: bilinear, 16: bicubic); every image is read once.

    Keys, Cubic convolution interpolation for digital image processing, 1981.
    """
    source = site.source(x, "x", images * in_h * in_w * channels, "uint8")
    values = images * out_h * out_w * channels
    site.op("elementwise", "resize", reads=[source], writes=[site.result(values, "uint8")], work=[vector(2 * taps * values)],
            dims={"rows": images, "width": out_h * out_w * channels})  # fmt: skip


@template(
    "images", images=size("at once"), height=size("of an image"), width=size("of an image", "height"), channels=size("of a pixel", 3),
    dtype=number_format("of the result"), x=tensor("the images"),
)  # fmt: skip
def normalize(site: Site, images: Expr, height: Expr, width: Expr, channels: Expr, dtype: str, x: str | None) -> None:
    """Bytes to numbers of mean 0 and deviation 1 by channel: a conversion, a difference and a product.

    LeCun et al., Efficient BackProp, 1998, §4.3.
    """
    values = images * height * width * channels
    source = site.source(x, "x", values, "uint8")
    site.op("elementwise", "normalize", reads=[streamed(source, values)], writes=[site.result(values, dtype)],
            work=[vector(3 * values)], dims={"rows": images, "width": height * width * channels})  # fmt: skip
