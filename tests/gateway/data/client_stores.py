"""Data stores by IBM's client: one created, all and one read.

python client_stores.py URL
"""

import json
import sys

from provlake.prospective.data_store_catalog import DataStoreCatalog

catalog = DataStoreCatalog(sys.argv[1])
made = catalog.create_data_store("Shared GPFS", "GPFS", id="gpfs 1")
catalog.create_data_store("Models", "AWSS3", id="s3", url="https://s3.example.org", bucket="models")
found = {"made": made, "all": catalog.get_data_stores(), "one": catalog.get_data_store("gpfs 1")}
print(json.dumps(found))
