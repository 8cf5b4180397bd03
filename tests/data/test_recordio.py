import io
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from resnest.data.recordio import MAGIC, RecordFile

pytestmark = pytest.mark.gluon


@pytest.fixture
def mx():
    from resnest.gluon._mxnet import mx

    return mx


def jpeg(number):
    content = io.BytesIO()
    Image.effect_noise((40, 30 + number), 60).convert("RGB").save(content, "JPEG")
    return content.getvalue()


def written(mx, path, records):
    writer = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for number, (label, content) in enumerate(records):
        writer.write_idx(number, mx.recordio.pack(mx.recordio.IRHeader(0, label, number, 0), content))
    writer.close()
    return path


def test_what_mxnet_writes_is_read(mx, tmp_path):
    contents = [jpeg(number) for number in range(5)]
    path = written(mx, tmp_path / "a.rec", zip([3, 0, 2, 1, 999], contents))
    records = RecordFile(path)
    assert len(records) == 5
    for again in (records, pickle.loads(pickle.dumps(records))):
        for number, label in enumerate([3, 0, 2, 1, 999]):
            image, found = again[number]
            assert found == label
            assert image == Image.open(io.BytesIO(contents[number])).convert("RGB")
    assert mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "r").read_idx(2) == records.record(
        int(records.positions[2])
    )


def test_a_record_that_holds_the_magic_number_is_put_together(mx, tmp_path):
    magic = struct.pack("<I", MAGIC)
    for content in (magic, magic * 3, b"abcd" + magic + b"x", b"a" + magic + b"bcd" + magic):
        records = RecordFile(written(mx, tmp_path / "a.rec", [(1, content), (2, b"after")]))
        assert records.record(int(records.positions[0])).endswith(content)
        assert records.record(int(records.positions[1])).endswith(b"after")


def test_images_are_not_turned(mx, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.new("RGB", (30, 20)).save(content, "PNG", exif=exif)
    image, _ = RecordFile(written(mx, tmp_path / "a.rec", [(0, content.getvalue())]))[0]
    assert image.size == (30, 20)


def test_a_label_may_stand_in_an_array_of_one(mx, tmp_path):
    path = written(mx, tmp_path / "a.rec", [(np.array([7], np.float32), jpeg(0))])
    assert RecordFile(path)[0][1] == 7


@pytest.mark.parametrize(
    ("label", "content", "sentence"),
    [
        (
            np.array([1, 2], np.float32),
            b"",
            r"record 0 of .*a.rec cannot be read: its label \[1.0, 2.0\] is no class's",
        ),
        (0.5, b"", r"its label \[0.5\] is no class's number"),
        (1, b"no photo", r"record 0 of .*a.rec is no photo that can be read: it has no format that is known"),
        (1, jpeg(0)[:500], r"record 0 of .*a.rec is no photo that can be read: .*runcated"),
    ],
)
def test_what_is_no_image_of_a_class_is_named(mx, tmp_path, label, content, sentence):
    records = RecordFile(written(mx, tmp_path / "a.rec", [(label, content)]))
    with pytest.raises(ValueError, match=sentence):
        records[0]


def test_a_cut_images_sentence_is_pillows_and_names_no_object(mx, tmp_path):
    records = RecordFile(written(mx, tmp_path / "a.rec", [(1, jpeg(0)[:300])]))
    with pytest.raises(ValueError, match=r"record 0 of .*a\.rec is no photo that can be read: ") as caught:
        records[0]
    pillows = caught.value.__context__.__context__
    assert str(caught.value).endswith(f"is no photo that can be read: {pillows}")
    assert "object at" not in str(caught.value)


def test_a_file_that_was_cut_or_has_another_index_is_named(mx, tmp_path):
    path = written(mx, tmp_path / "a.rec", [(1, jpeg(0)), (2, jpeg(1))])
    index = path.with_suffix(".idx")
    whole, positions = path.read_bytes(), index.read_text()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"record 1 of .* cannot be read: the file ends before byte"):
        RecordFile(path)[1]
    index.write_text("0\t4\n")
    with pytest.raises(ValueError, match="no record starts at byte 4"):
        RecordFile(path)[0]
    index.write_text("0 zero\n")
    with pytest.raises(ValueError, match=r"a.idx is no index"):
        RecordFile(path)
    index.write_text("")
    with pytest.raises(ValueError, match=r"a.idx is empty"):
        RecordFile(path)
    index.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a.idx"):
        RecordFile(path)
    assert positions.startswith("0\t0")
