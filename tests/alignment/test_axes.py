"""Labels of axes by hand: united, split, regrouped, fixed."""

from llpf_plugin.alignment.axes import Labels


def test_axes_of_one_size_become_one_label_and_fixing_one_fixes_both() -> None:
    labels = Labels()
    a, b = labels.axis(6), labels.axis(6)
    labels.unite(a, b)
    assert labels.resolve(b) == a and not labels.is_fixed(a[0])
    labels.fix(b)
    assert labels.is_fixed(a[0]) and labels.axis(1) == ()


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
    assert labels.is_fixed(a[0]) and labels.is_fixed(b[0])


def test_a_view_regroups_the_labels_if_they_divide_that_way() -> None:
    labels = Labels()
    channels, rows = labels.axis(8), labels.axis(5)
    assert labels.regroup([channels, rows], [40]) == [(*channels, *rows)]
    split = labels.regroup([channels, rows], [2, 4, 5])
    assert split is not None and [labels.length(axis) for axis in split] == [2, 4, 5]
    assert labels.resolve(channels) == (*split[0], *split[1])
    assert labels.regroup([rows], [2, 3]) is None
