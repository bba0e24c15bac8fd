# Bars of speed.py: data (label, median, least, most, color), out, title.
set terminal svg size 760,380 font "sans-serif,14"
set output out
set title title textcolor rgb "#808080"
set border 3 linecolor rgb "#808080"
set tics nomirror textcolor rgb "#808080"
set xtics scale 0
set logscale y
set yrange [0.05:*]
set offsets 0, 0, graph 0.06, 0
set ytics (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
set boxwidth 0.6
set style fill solid 1.0 noborder
unset key
plot data using 0:2:5:xtic(1) with boxes linecolor rgb variable, \
     '' using 0:3:(0):($4 - $3) with vectors nohead linewidth 3 linecolor rgb "#808080", \
     '' using 0:4:(sprintf("%.3g", $2)) with labels offset 0,0.8 textcolor rgb "#808080"
