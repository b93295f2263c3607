import numpy as np

from napari_amvlm.byte_cache import ByteCache


def test_the_least_recently_used_value_is_dropped_first():
    cache = ByteCache(3)
    for key in "abc":
        cache.put(key, np.zeros(1, np.uint8))

    assert cache["a"].nbytes == 1
    cache.put("d", np.zeros(1, np.uint8))

    assert [key in cache for key in "abcd"] == [True, False, True, True]
    assert (len(cache), cache.nbytes) == (3, 3)


def test_the_last_value_stays_however_large_and_a_new_one_replaces_the_old():
    cache = ByteCache(3)
    cache.put("a", np.zeros(2, np.uint8))
    cache.put("b", np.zeros(9, np.uint8))

    assert ("a" in cache, "b" in cache, cache.nbytes) == (False, True, 9)
    cache.put("b", np.zeros(1, np.uint8))
    assert cache.nbytes == 1


def test_a_value_is_made_once():
    cache = ByteCache(3)
    made = []

    def make():
        made.append(1)
        return np.zeros(1, np.uint8)

    assert cache.get_or_make("a", make) is cache.get_or_make("a", make)
    assert made == [1]
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)
