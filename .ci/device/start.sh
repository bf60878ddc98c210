# on the device machine, after the second upload: everything in the background
cd /tmp/gpu; export TEXTS=${TEXTS:-16384} STEPS=${STEPS:-1000} RATERS=${RATERS:-0}
setsid nohup bash -c 'python3 -c "from saerob.model.subject import Subject; Subject.load(sae=None, layer=15, device=\"cuda\", dtype=\"bfloat16\")"; python3 run.py' > /tmp/run.log 2>&1 < /dev/null &
sleep 1
