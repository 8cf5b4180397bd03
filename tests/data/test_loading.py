import threading

import pytest

from resnest.data.loading import ahead


def test_results_come_in_order_and_no_more_wait_than_may():
    started = []
    results = ahead(lambda item: started.append(item) or 2 * item, range(100), threads=3, most=5)
    assert next(results) == 0
    assert len(started) <= 5
    assert list(results) == [2 * item for item in range(1, 100)]


def test_an_error_comes_where_its_item_is():
    results = ahead(lambda item: 1 // item, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_whoever_stops_leaves_no_thread_behind():
    before = threading.active_count()
    results = ahead(str, range(100))
    next(results)
    results.close()
    assert threading.active_count() == before
