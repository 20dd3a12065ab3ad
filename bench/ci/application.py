"""The application whose job is measured: a web service with a database, jobs in the background, and tests."""

# What is built from source, with what is imported of it afterwards, by language. Of some the index has no wheels (docopt,
# psycopg2); a company's own packages, a platform without wheels or a policy against foreign binaries make it all of them.
BUILT = {
    "C": {
        "cffi": "_cffi_backend", "hiredis": "hiredis.hiredis", "markupsafe": "markupsafe._speedups", "multidict": "multidict._multidict",
        "psutil": "psutil._psutil_linux", "psycopg2": "psycopg2", "setproctitle": "setproctitle._setproctitle", "simplejson": "simplejson._speedups",
        "wrapt": "wrapt._wrappers", "xxhash": "xxhash._xxhash",
    },
    "Cython": {"msgpack": "msgpack._cmsgpack", "pyyaml": "yaml._yaml"},
    "C++": {"greenlet": "greenlet._greenlet", "ujson": "ujson"},
    "Rust": {"bcrypt": "bcrypt._bcrypt"},
    "Python": {"docopt": "docopt"},
}
MODULES = {name: module for packages in BUILT.values() for name, module in packages.items()}

# What Debian and Ubuntu need for that, beside Rust (cargo) and the headers of the Python that runs this.
DEBIAN = ["build-essential", "libffi-dev", "libpq-dev", "libyaml-dev"]

# What `curd lock` resolved django, djangorestframework, celery, redis, hiredis, sqlalchemy, alembic, aiohttp, sentry-sdk, boto3,
# numpy, pytest and the others to; a job in CI has such a file.
PINS = """
aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aiosignal==1.4.0 alembic==1.20.1 amqp==5.4.2 asgiref==3.13.0 attrs==26.1.0 bcrypt==5.0.0
billiard==4.3.2 boto3==1.44.8 botocore==1.44.8 celery==5.7.0 certifi==2026.10.19.post1 cffi==2.1.1 charset-normalizer==3.5.3 click==8.5.1
click-didyoumean==0.3.1 click-plugins==1.1.1.2 click-repl==0.4.1 django==5.2.19 djangorestframework==3.18.3 docopt==0.6.2 frozenlist==1.8.0
greenlet==3.5.6 gunicorn==27.0.1 hiredis==3.5.0 httptools==0.9.0 idna==3.20 iniconfig==2.3.1 jinja2==3.1.6 jmespath==1.1.0
jsonschema==4.26.0 jsonschema-specifications==2025.9.1 kombu==5.7.0 mako==1.4.3 markdown-it-py==4.3.0 markupsafe==3.0.4 mdurl==0.1.2
msgpack==1.2.4 multidict==7.2.1 numpy==2.4.6 packaging==26.4 pluggy==1.7.0 prompt-toolkit==3.0.53 propcache==0.5.4 psutil==7.2.2
psycopg2==2.9.13 pycparser==3.12 pygments==2.21.0 pytest==9.2.0 python-dateutil==2.9.0.post0 pyyaml==6.0.4 redis==8.1.0 referencing==0.37.0
requests==2.34.2 rich==15.0.0 rpds-py==2026.9.1 s3transfer==0.19.3 sentry-sdk==2.75.0 setproctitle==1.3.8 simplejson==4.3.0 six==1.17.0
sqlalchemy==2.1.9 sqlparse==0.6.1 typing-extensions==4.16.0 tzlocal==5.4.5 ujson==6.1.0 urllib3==2.8.0 vine==5.1.0 wcwidth==0.9.4
wrapt==2.5.2 xxhash==4.1.0 yarl==1.25.1
""".split()
