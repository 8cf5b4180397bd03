"""Hostile pickles: nothing in them is run, and none takes more time or memory than its size allows."""

import io
import os
import pickle
import struct
import sys
import tracemalloc

import pytest

from resnest.weights.formats import pickles, tensors
from resnest.weights.formats.pickles import Global, Inert, Reader, plain_dict
from resnest.weights.formats.tensors import check_claim

STOP = b"."


def opened(content, build=None):
    spent = 0

    def spend(more):
        nonlocal spent
        spent += more
        check_claim(spent, len(content))

    build = {"collections.OrderedDict": plain_dict} if build is None else build
    return Reader(io.BytesIO(content), build, lambda name: False, lambda saved: ("saved", saved), spend)


def read(content):
    return opened(content).read()


def complaint_of(content):
    try:
        read(content)
    except ValueError as error:
        return str(error)
    return None


PLAIN = {
    "numbers": [0, 1, 255, 65536, -1, 1 << 40, -(1 << 80), 1.5, True, False, None],
    "texts": ["a", "ä", "\U0001f600", b"bytes", ""],
    "nested": {"a": [{"b": (1, 2, 3, 4)}, (), (1,), (1, 2), (1, 2, 3)]},
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_things_are_read_as_python_reads_them(protocol):
    plain = {**PLAIN, "texts": PLAIN["texts"] if protocol > 2 else ["a", "ä", "\U0001f600", ""]}
    assert read(pickle.dumps(plain, protocol)) == plain


def test_the_same_thing_in_two_places_stays_the_same():
    shared = ["shared"]
    found = read(pickle.dumps({"a": shared, "b": shared}))
    assert found["a"] is found["b"]
    circle = []
    circle.append(circle)
    found = read(pickle.dumps(circle))
    assert found[0] is found


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.mkdir, os.system, eval, exec, __import__])
def test_what_a_pickle_calls_is_not_called(protocol, function, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argument = {os.mkdir: "ran", os.system: "touch ran"}.get(function, "open('ran', 'w')")

    class Evil:
        def __reduce__(self):
            return function, (argument,)

    reader = opened(pickle.dumps({"x": Evil()}, protocol))
    found = reader.read()["x"]
    assert type(found) is Inert
    assert found.name.endswith(f".{function.__name__}")
    assert list(reader.unknown) == [found.name]
    assert os.listdir(tmp_path) == []


def test_attributes_state_and_items_of_what_was_not_built_set_nothing():
    """Each is a way in where classes are real: their __setstate__, __setitem__, append, or their attributes."""

    def watched():
        return dict(vars(Inert)), dict(vars(Global)), plain_dict.__defaults__, plain_dict.__code__

    before = watched()
    name = b"ccollections\nOrderedDict\n"
    stranger = b"cos\nsystem\n"
    state = b"}V__code__\nNs"
    slots = b"(N" + state + b"t"
    for begin in (name, stranger, stranger + b")R", stranger + b")\x81", name + b")R"):
        for change in (state + b"b", slots + b"b", stranger + b"b", b"Va\nVb\ns", b"(Va\nVb\nu", b"Va\na", b"(Va\ne"):
            read(b"\x80\x02" + begin + change + STOP)
    assert watched() == before


def test_what_was_not_built_can_be_called_without_end_and_stays_inert():
    content = b"\x80\x02cbuiltins\ngetattr\ncos\nVsystem\n\x86RVecho\n\x85R(Vecho\no\x85R" + STOP
    content = content.replace(b"cos\nV", b"cos\nsystem\nV")
    assert type(read(content)) is Inert
    assert type(read(b"(Vecho ran\nios\nsystem\n.")) is Inert  # INST
    assert type(read(b"(cos\nsystem\nVecho ran\no.")) is Inert  # OBJ
    assert type(read(b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.")) is Inert  # NEWOBJ_EX


def test_keys_that_are_no_texts_are_dropped_and_never_hashed():
    depth = 200
    nested = b")" + b"2\x86" * depth  # each tuple holds the one before twice
    content = b"\x80\x02}" + nested + b"Vvalue\ns" + STOP  # its hash would take 2^200 steps: this would never end
    assert read(content) == {}


BOMBS = {
    "dicts": b"\x80\x02(" + b"}" * 100_000 + b"t.",
    "remembered": b"\x80\x04(" + b"]\x94" * 50_000 + b"t.",
    "calls": b"\x80\x02cos\nsystem\nq\x000(" + b"h\x00)R" * 25_000 + b"t.",
    "pairs again and again": b"\x80\x02(" + b"Va\nN\x86" * 5_000 + b"lq\x01ccollections\nOrderedDict\nq\x00"
    + b"0h\x00h\x01\x85R" * 5_000 + b".",
    "long names again and again": b"\x80\x04X" + struct.pack("<I", 4000) + b"a" * 4000 + b"\x94("
    + b"h\x00h\x00\x93" * 25_000 + b"t.",
    "wide letters": b"\x80\x02(" + (b"X\xec\x03\x00\x00" + b"a" * 1000 + "\U0001f600".encode()) * 4_000 + b"t.",
    "nested": b"\x80\x02" + b"]" * 35_000 + b"a" * 34_999 + STOP,
    "tuples in tuples": b"\x80\x02)" + b"2\x86" * 35_000 + STOP,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_memory_is_bounded_by_the_size(name, monkeypatch):
    monkeypatch.setattr(tensors, "ALLOWANCE", 1 << 20)  # bombs take their time
    content = BOMBS[name]
    tracemalloc.start()
    complaint = complaint_of(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert complaint is None or "taken for a bomb" in complaint
    assert peak <= 2 * len(content) + tensors.ALLOWANCE


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x96" + struct.pack("<Q", 1 << 60) + b"abc",  # BYTEARRAY8: Python takes the memory first
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc",
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"abc",
        b"\x80\x02X" + struct.pack("<I", (1 << 32) - 1) + b"abc",
        b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b"abc",
        b"\x80\x02\x8b" + struct.pack("<i", -5) + b"abc",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"abc",
        b"\x80\x02Nr\xff\xff\xff\xff",  # remembered at 2^32 - 1: a list for it would take 32 GB
        b"I" + b"9" * 100_000 + b"\n.",
        b"p" + b"9" * 100 + b"\n.",
        b"Np99999999999999999999\n.",
        b"h\x05.", b"j\x05\x00\x00\x00.", b"g5\n.",
        b"0.", b"R.", b"a.", b"s.", b"b.", b"t.", b"u.", b"e.", b"1.", b"2.", b"\x93.", b"\x85.", b"\x92.", b"o.",
        b"Q.",
        b"(.", b"((.", b"N(R.", b"]N(.", b"", b".", b"\x80\x02", b"\xff.", b"\x82\x01.", b"\x97.", b"\x98.",
        b"Va\n(a.", b"](NRa.", b"\x80\x02X\x02\x00\x00\x00\xff\xff.", b"cos\n", b"c\n\n.", b"ios\nsystem\n.",
        b"S'unfinished\n.", b"F1x\n.", b"L5\n.",
    ],
    ids=range(49),
)  # fmt: skip
def test_broken_ones_are_refused_or_read_in_a_sentence(content):
    tracemalloc.start()
    complaint = complaint_of(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert complaint is None or "\n" not in complaint
    assert peak < 1 << 20


def test_a_text_that_a_file_only_claims_takes_no_memory(tmp_path):
    """A file on disk takes the memory first, where one in memory does not."""
    (tmp_path / "a").write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 64 << 20) + b"abc")
    tracemalloc.start()
    with open(tmp_path / "a", "rb") as file, pytest.raises(ValueError, match="it claims a text of 67108864 bytes"):
        Reader(file, {}, lambda name: False, lambda saved: saved, lambda more: None).read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_deep_nesting_ends_in_no_recursion():
    content = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + STOP
    found = read(content)
    for _ in range(99_999):
        (found,) = found
    assert found == []
    assert sys.getrecursionlimit() < 100_000


def test_long_texts_are_not_kept():
    found = read(pickle.dumps({"a": b"x" * 100_000, "b": "x" * pickles.LONGEST_KEPT}))
    assert isinstance(found["a"], Inert)
    assert found["b"] == "x" * pickles.LONGEST_KEPT
    assert isinstance(read(b"cos\nsystem\n."), Global)
