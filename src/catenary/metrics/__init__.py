"""What predictions are measured by.

- `counts`: metrics of true and false positives and negatives; `volumes`: of amounts; `objects`: of things.
- `surface`: metrics of outlines, from `elements` between pixels and the `nearest` distances of those.
- `damage`: grades of building damage, as the xView2 challenge scores them and more strictly.
- `registry`: all of them in one table, with formula, range and what happens on empty masks.
- `intervals`: bootstrap over groups; `baselines`: answers that need no learning.
- `classification`, `ranking`, `calibration`, `decision`: scores of whole images; `classes`: all of them at once.
- `evaluation`: `Scorer`, `Evaluation`, `compare`.
"""
