"""Labels of axes by hand: united, split, regrouped, fixed."""

from llpf_plugin.alignment.axes import Freedom, Labels, dual
from llpf_plugin.alignment.terms import terms


def test_axes_of_one_size_become_one_label_and_fixing_one_fixes_both() -> None:
    labels = Labels()
    a, b = labels.axis(6), labels.axis(6)
    labels.unite(a, b)
    assert labels.resolve(b) == a and labels.freedom(a[0]) != Freedom.FIXED
    labels.fix(b)
    assert labels.freedom(a[0]) == Freedom.FIXED and labels.axis(1) == ()


def test_a_product_splits_the_label_that_it_meets() -> None:
    labels = Labels()
    whole, heads, width = labels.axis(12), labels.axis(3), labels.axis(4)
    labels.unite(whole, (*heads, *width))
    assert labels.resolve(whole) == labels.resolve((*heads, *width))
    assert labels.sizes(labels.resolve(whole)) == (3, 4) and labels.length(whole) == 12


def test_what_does_not_divide_is_fixed() -> None:
    labels = Labels()
    a, b = labels.axis(6), labels.axis(4)
    labels.unite(a, b)
    assert labels.freedom(a[0]) == Freedom.FIXED and labels.freedom(b[0]) == Freedom.FIXED


def test_a_view_regroups_the_labels_if_they_divide_that_way() -> None:
    labels = Labels()
    channels, rows = labels.axis(8), labels.axis(5)
    assert labels.regroup([channels, rows], [40]) == [(*channels, *rows)]
    split = labels.regroup([channels, rows], [2, 4, 5])
    assert split is not None and [labels.length(axis) for axis in split] == [2, 4, 5]
    assert labels.resolve(channels) == (*split[0], *split[1])
    assert labels.regroup([rows], [2, 3]) is None


def test_what_meets_its_own_dual_is_rotated_but_not_scaled() -> None:
    labels = Labels()
    x, y = labels.axis(4), labels.axis(4)
    labels.unite(x, dual(y))
    assert labels.resolve(y) == dual(labels.resolve(x)) and labels.freedom(x[0]) == Freedom.ALL
    labels.unite(x, y)
    assert labels.freedom(x[0]) == Freedom.ALL & ~Freedom.SCALE


def test_pieces_of_an_axis_are_labels_of_their_own() -> None:
    labels = Labels()
    whole = labels.axis(9)
    first, second = labels.piece(whole, 0, 4), labels.piece(whole, 4, 9)
    assert first is not None and second is not None and first != second
    labels.fix(first)
    assert labels.freedom(second[0]) == Freedom.ALL
    assert [(labels.sizes(axis), grid.tolist()) for axis, grid in terms(labels, whole)] == [
        ((4,), [0, 1, 2, 3]), ((5,), [4, 5, 6, 7, 8]),
    ]  # fmt: skip
    again = labels.piece(whole, 2, 6)  # across the first cut
    assert again is not None and [labels.sizes(axis) for axis, _ in terms(labels, again)] == [(2,), (2,)]


def test_two_axes_in_parts_are_cut_alike_when_they_meet() -> None:
    labels = Labels()
    one = labels.concatenate([labels.axis(2), labels.axis(4)])
    two = labels.concatenate([labels.axis(3), labels.axis(3)])
    labels.unite(one, two)
    found = terms(labels, two)
    assert [labels.sizes(axis) for axis, _ in found] == [(2,), (), (3,)]  # the third unit is alone: it has no label
    assert [axis for axis, _ in found] == [axis for axis, _ in terms(labels, one)]


def test_what_was_split_from_one_axis_is_other_units_in_each_slice() -> None:
    labels = Labels()
    whole = labels.axis(24)
    axes = labels.regroup([whole], [3, 2, 4])
    assert axes is not None
    outer, heads, width = axes
    q, k = (labels.sliced(outer, [heads, width], i) for i in (0, 1))
    assert q != k and labels.sliced(outer, [heads, width], 0) == q
    labels.unite(q[1], dual(k[1]))
    found = terms(labels, whole)
    assert [grid.flatten()[0].item() for _, grid in found] == [0, 8, 16]
    assert found[0][0][1] == -found[1][0][1] and abs(found[2][0][1]) != abs(found[0][0][1])


def test_what_is_read_without_its_slices_is_the_same_in_each() -> None:
    labels = Labels()
    whole, reader = labels.axis(8), labels.axis(4)
    axes = labels.regroup([whole], [2, 4])
    assert axes is not None
    (width,) = labels.sliced(axes[0], [axes[1]], 0)
    labels.unite(axes[1], dual(reader))
    terms(labels, reader)
    assert labels.collapsed and labels.resolve(reader) == dual(labels.resolve(width))


def test_squares_allow_rotations_until_they_are_used_otherwise() -> None:
    labels = Labels()
    x, y = labels.axis(4), labels.axis(4)
    assert labels.squared(labels.square(x)) == x and labels.freedom(x[0]) == Freedom.ALL
    labels.unite(labels.square(y), labels.axis(4))
    assert labels.freedom(y[0]) == Freedom.PERMUTE
