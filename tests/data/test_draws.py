from resnest.data.draws import PURPOSES, generator, order


def test_the_same_place_draws_the_same_and_every_other_place_others():
    places = [(0,), (0, 0), (1,), (1, 0), (0, 1), (2**32 - 1,), (0, 1, 0)]
    drawn = {
        generator(seed, purpose, *place).random() for seed in (0, 1, 2**40) for purpose in PURPOSES for place in places
    }
    assert len(drawn) == 3 * len(PURPOSES) * len(places)
    assert generator(3, "sample", 1, 2).random() == generator(3, "sample", 1, 2).random()


def test_an_epoch_goes_through_every_image_once_in_an_order_of_its_own():
    orders = [order(0, epoch, 100).tolist() for epoch in range(3)]
    assert all(sorted(one) == list(range(100)) for one in orders)
    assert len({tuple(one) for one in orders}) == 3
    assert order(0, 1, 100).tolist() == orders[1]
    assert order(1, 1, 100).tolist() != orders[1]


def test_the_order_is_written_down_so_that_no_release_of_numpy_changes_a_resumed_run():
    assert order(0, 0, 8).tolist() == [7, 6, 3, 2, 4, 1, 5, 0]
    assert generator(0, "sample", 0, 0).random() == 0.3113631743372899
