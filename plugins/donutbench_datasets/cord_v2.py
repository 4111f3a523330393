"""CORD (Park et al. 2019), the receipts of the paper's Table 3: 800, 100 and 100 of them, CC-BY-4.0."""

from collections.abc import Iterator

from benchmark import Dataset, hookimpl, hub_dataset

KEYS = (
    *("menu", "nm", "num", "unitprice", "cnt", "discountprice", "price", "itemsubtotal", "vatyn", "etc", "sub"),
    "void_menu",
    *("sub_total", "subtotal_price", "discount_price", "service_price", "othersvc_price", "tax_price"),
    *("total", "total_price", "total_etc", "cashprice", "changeprice", "creditcardprice", "emoneyprice"),
    *("menutype_cnt", "menuqty_cnt"),
)


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield hub_dataset(
        name="cord-v2",
        repository="naver-clova-ix/cord-v2",
        summary="photographs of receipts, from the hub",
        keys=KEYS,
        stands_for="CORD-v2",
    )
