"""Says how often what was answered, and fails when too little was asked or nothing was reached."""

import collections
import json
import sys

rows = json.load(open(sys.argv[1], encoding="utf-8"))
least = int(sys.argv[2])

by_operation = collections.defaultdict(collections.Counter)
by_code = collections.Counter()
for operation, status, code, count in rows:
    by_operation[operation][status] += count
    by_code[f"{status} {code}".strip()] += count
total = sum(by_code.values())

for operation, statuses in sorted(by_operation.items()):
    told = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    print(f"{sum(statuses.values()):7} {operation}: {told}")
print(f"{total:7} requests: " + ", ".join(f"{code}: {n}" for code, n in sorted(by_code.items())))

unreached = [name for name, statuses in by_operation.items() if not any(s < 400 for s in statuses)]
if total < least:
    sys.exit(f"{total} requests are fewer than {least}")
if unreached:
    sys.exit(f"never answered with success: {', '.join(sorted(unreached))}")
