# Lines of speed.py, with their names beside their ends. folder: panelN (blocks of x, y, color; the last one is of
# labels: y, color, text), titleN; counts (of lines), lefts, rights: of each panel; panels, out, xlabel, ylabel,
# least, most (y), xscale.
columns = panels > 1 ? 2 : 1
rows = (panels + columns - 1) / columns
set terminal svg size (panels > 1 ? 1100 : 800), (panels > 1 ? 330 * rows : 420) font "sans-serif,13"
set output out
set border 3 linecolor rgb "#808080"
set tics nomirror textcolor rgb "#808080"
set format x (xscale eq "x" ? "%.0s%c" : "%.0f")
set logscale y
if (xscale eq "x") set logscale x
set xlabel xlabel textcolor rgb "#808080"
set ylabel ylabel textcolor rgb "#808080"
set yrange [least:most]
set ytics (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
set rmargin 18
unset key
if (panels > 1) set multiplot layout rows, columns
do for [i = 0:panels - 1] {
    data = sprintf("%s/panel%d", folder, i)
    set title system(sprintf("cat '%s/title%d'", folder, i)) textcolor rgb "#808080"
    last = word(counts, i + 1) + 0
    right = word(rights, i + 1) + 0
    set xrange [word(lefts, i + 1) + 0:right]
    plot for [line = 0:last - 1] data index line using 1:2:3 with linespoints pointtype 7 pointsize 0.5 linewidth 2 \
             linecolor rgb variable, \
         data index last using (right):1:3:2 with labels left offset 1,0 textcolor rgb variable
}
if (panels > 1) unset multiplot
