import numpy as np
import pytest
from PIL import Image

from hybridlit.data.image_files import find_images, mode_of, pixels, read_images


def saved(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path, **options)
    return path


def test_grey_and_colour_are_read_as_asked(tmp_path):
    generator = np.random.default_rng(0)
    grey = generator.integers(0, 256, (3, 5), dtype=np.uint8)
    colour = generator.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    one, three = saved(tmp_path / "a.png", grey), saved(tmp_path / "b.png", colour)
    np.testing.assert_array_equal(pixels(one, "L", None), grey[None])
    np.testing.assert_array_equal(pixels(one, "RGB", None), np.stack([grey] * 3))
    np.testing.assert_array_equal(pixels(three, "RGB", None), colour.transpose(2, 0, 1))
    luma = colour @ [0.299, 0.587, 0.114]
    assert np.abs(pixels(three, "L", None)[0] - luma).max() <= 1
    assert (mode_of("auto", [one]), mode_of("auto", [one, three])) == ("L", "RGB")
    assert (mode_of("grey", [three]), mode_of("rgb", [one])) == ("L", "RGB")


@pytest.mark.parametrize("grey", [0, 64, 255])
def test_what_is_transparent_becomes_white(tmp_path, grey):
    alpha = np.array([[0, 128, 255]], dtype=np.uint8)
    picture = np.stack([np.full_like(alpha, grey), alpha], -1)
    path = saved(tmp_path / "a.png", picture)
    expected = 255 + (grey - 255.0) * alpha / 255
    assert np.abs(pixels(path, "L", None)[0] - expected).max() <= 1
    assert np.abs(pixels(path, "RGB", None) - expected).max() <= 1


def test_palettes_are_looked_up_and_their_transparent_colour_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    expected = np.array([[10, 200], [20, 100], [30, 50]])[:, None]
    np.testing.assert_array_equal(pixels(tmp_path / "a.png", "RGB", None), expected)
    assert mode_of("auto", [tmp_path / "a.png"]) == "RGB"
    image.save(tmp_path / "b.png", transparency=1)
    expected[:, 0, 1] = 255
    np.testing.assert_array_equal(pixels(tmp_path / "b.png", "RGB", None), expected)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    values = np.array([[0, 257, 1000], [32768, 65000, 65535]], dtype=np.uint16)
    path = saved(tmp_path / "a.png", values)
    np.testing.assert_array_equal(pixels(path, "L", None)[0], np.round(values / 257))
    assert mode_of("auto", [path]) == "L"
    clear = saved(tmp_path / "b.png", values, transparency=1000)
    assert pixels(clear, "L", None)[0, 0].tolist() == [0, 1, 255]


def test_one_bit_is_black_and_white(tmp_path):
    path = saved(tmp_path / "a.png", np.array([[True, False]]))
    assert pixels(path, "L", None).tolist() == [[[255, 0]]]


def test_the_orientation_of_a_camera_is_applied(tmp_path):
    picture = np.zeros((2, 3), np.uint8)
    picture[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = saved(tmp_path / "a.png", picture, exif=exif)
    np.testing.assert_array_equal(pixels(path, "L", None)[0], np.rot90(picture, -1))


def test_resizing_averages_and_takes_height_before_width(tmp_path):
    picture = np.kron(np.array([[0, 100, 200]], np.uint8), np.ones((4, 4), np.uint8))
    small = pixels(saved(tmp_path / "a.png", picture), "L", [1, 3])
    assert small.shape == (1, 1, 3)
    assert np.abs(small[0, 0].astype(int) - [0, 100, 200]).max() < 15
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    assert abs(int(pixels(saved(tmp_path / "b.png", noise), "L", [1, 1])[0, 0, 0]) - 127) < 10


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_damaged_file_is_named(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = saved(tmp_path / f"cat{suffix}", noise)
    whole = path.read_bytes()
    for bad in (b"", b"no image", whole[:20], whole[: len(whole) // 2], whole[:-200]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=rf"images that can be read, got .*cat{suffix}: "):
            pixels(path, "L", None)
    with pytest.raises(FileNotFoundError, match=r"dog\.png"):
        pixels(tmp_path / "dog.png", "L", None)


def test_other_formats_behind_a_known_name_are_refused(tmp_path):
    saved(tmp_path / "a.gif", np.zeros((2, 2), np.uint8)).rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"can be read.*no PNG or JPEG"):
        pixels(tmp_path / "a.png", "L", None)
    frames = [Image.new("L", (2, 2), grey) for grey in (0, 255)]
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="several frames"):
        pixels(tmp_path / "b.png", "L", None)


def test_files_come_by_name_and_others_are_told(tmp_path):
    for name in ("b/2.PNG", "a.jpeg", "b/1.jpg", ".hidden.png", ".cache/x.png"):
        saved(tmp_path / name, np.zeros((2, 2), np.uint8))
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["a.jpeg", "b/1.jpg", "b/2.PNG"]
    for other in ("notes.txt", "c.gif", "d.gif", "LICENSE"):
        (tmp_path / other).write_text("")
    with pytest.warns(UserWarning, match=r"left out: \.gif \(2\), \.txt \(1\), no suffix \(1\)"):
        assert len(find_images(tmp_path)) == 3


def test_images_of_several_sizes_are_named(tmp_path):
    paths = [saved(tmp_path / f"{i}.png", np.zeros((4, 4 + i // 2), np.uint8)) for i in range(9)]
    names = [path.name for path in paths]
    several = r"of one size, or resized by size=.*4 x 4 \(0.png\), 4 x 5 \(2.png\).*and 2 more"
    with pytest.raises(ValueError, match=several):
        read_images(paths, names, "L", None)
    with pytest.raises(ValueError, match=r"9 x 9 \(training\), 4 x 4 \(0.png\)"):
        read_images(paths[:1], names, "L", None, only=(9, 9))
    assert read_images(paths, names, "L", [3, 2]).shape == (9, 1, 3, 2)
    with pytest.raises(ValueError, match="at least one image, got none"):
        read_images([], [], "L", None)
