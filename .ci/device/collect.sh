# results without trained weights, in parts that may travel
cd /tmp/res && tar cz --exclude=grid/trained . 2>/dev/null | split -b 15500k -d - $OUT/res.tgz. ; ls -la $OUT
