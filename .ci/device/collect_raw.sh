# what is needed to rate texts at home: texts, and the places, words and directions of their SAEs' latents; new files only
cd /tmp/res/grid && touch /tmp/now.raw && N=$([ -f /tmp/last.raw ] && echo "-newer /tmp/last.raw")
find saes \( -name "texts-*.npz" -o -name "vectors.npz" -o -name "stats*" \) -type f $N > /tmp/raw.list
tar cz -T /tmp/raw.list 2>/dev/null | split -b 15500k -d - $OUT/raw.tgz. ; mv /tmp/now.raw /tmp/last.raw; wc -l < /tmp/raw.list; ls -la $OUT
