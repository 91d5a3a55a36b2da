"""Files with changed bytes."""

from hypothesis import strategies as st

from catenary.errors import InputError
from catenary.io import image_size, read_image, read_mask


def read_damaged(path, data):
    """Change a few bytes: reading either works or raises the sentence that names the file."""
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[int(data.draw(st.floats(0, 1, exclude_max=True)) * len(content))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    for read in (read_image, read_mask, image_size):
        try:
            read(path)
        except InputError as error:
            assert path.name in str(error)  # noqa: PT017 (either outcome is right; a message must name the file)
