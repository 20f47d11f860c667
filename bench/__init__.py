"""The figures: what the gateway costs and what its clients notice of changes and kills.

`python -m bench [--quick] [NAME...]`; `docs/performance.md` says what each figure
means. Everything listens on 127.0.0.1 on free ports and is bounded in time. The
gateway is started as operators start it, by its command, and measured from
outside: nothing in it knows of this package.
"""
