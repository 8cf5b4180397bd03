import numpy as np
import pytest
from scipy.io import loadmat, savemat

from resnest.data.matlab import read_matlab

SYNSETS = np.array(
    [(1, "n02119789", "kit fox, Vulpes macrotis", [], 0.5), (300, "n02100735", "", [[3, 4], [5, 6]], -1.0)],
    dtype=[("ID", "O"), ("WNID", "O"), ("words", "O"), ("children", "O"), ("height", "O")],
)


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def path(request, tmp_path):
    path = tmp_path / "meta.mat"
    values = {"synsets": SYNSETS[:, None], "numbers": np.arange(6, dtype=np.int16).reshape(2, 3), "é": "Zürich"}
    cells = np.array(["a", np.eye(2)], object)
    savemat(path, values | {"cells": cells, "long": np.arange(1e3)}, do_compression=request.param)
    return path


def test_structs_texts_cells_and_numbers_are_those_of_scipy(path):
    found = read_matlab(path.read_bytes())
    expected = loadmat(path, squeeze_me=False)
    assert [*found] == [name for name in expected if not name.startswith("__")]
    assert [row["WNID"] for row in found["synsets"]] == ["n02119789", "n02100735"]
    assert [row["words"] for row in found["synsets"]] == ["kit fox, Vulpes macrotis", ""]
    for mine, theirs in zip(found["synsets"], expected["synsets"][:, 0], strict=True):
        assert [*mine] == [*theirs.dtype.names]
        for name in ("ID", "children", "height"):
            np.testing.assert_array_equal(mine[name], theirs[name])
    np.testing.assert_array_equal(found["numbers"], expected["numbers"])
    np.testing.assert_array_equal(found["long"], expected["long"])
    assert found["cells"][0] == "a"
    np.testing.assert_array_equal(found["cells"][1], np.eye(2))
    assert found["é"] == "Zürich"


def test_a_file_of_the_other_byte_order_is_read(tmp_path):
    """By hand: SciPy writes the order of its machine alone."""
    matrix = b"".join(
        [
            bytes.fromhex("00000006 00000008 00000006 00000000"),  # class double
            bytes.fromhex("00000005 00000008 00000001 00000002"),  # 1 x 2
            bytes.fromhex("00010001") + b"x\0\0\0",
            bytes.fromhex("00040003 01000002"),  # two int16 as MATLAB stores doubles that are whole
        ]
    )
    (tmp_path / "a.mat").write_bytes(b" " * 124 + b"\1\0MI" + bytes.fromhex("0000000e 00000030") + matrix)
    np.testing.assert_array_equal(read_matlab((tmp_path / "a.mat").read_bytes())["x"], [[256, 2]])


def test_what_is_broken_is_one_sentence(path):
    content = path.read_bytes()
    for broken in (b"", content[:100], content[:-20], b"MATLAB 7.3 MAT-file".ljust(200), content[:140] + b"\xff" * 60):
        with pytest.raises(ValueError, match=r"^no MATLAB file of version 5 that can be read: "):
            read_matlab(broken)


def test_what_is_not_read_is_said(tmp_path):
    from scipy.sparse import csc_matrix

    savemat(tmp_path / "a.mat", {"few": csc_matrix(np.eye(3))})
    with pytest.raises(ValueError, match=r"few of shape \(3, 3\) is of class 5, which is not read here"):
        read_matlab((tmp_path / "a.mat").read_bytes())
    savemat(tmp_path / "a.mat", {"rows": np.array(["ab", "cd"])})
    with pytest.raises(ValueError, match=r"rows of shape \(2, 2\) is of class 4"):
        read_matlab((tmp_path / "a.mat").read_bytes())
