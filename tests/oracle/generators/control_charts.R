# Run lengths of CUSUM and EWMA charts by R's spc, which solves the same integral equations by other rules.
# From the root of the checkout: Rscript tests/oracle/generators/control_charts.R > tests/oracle/data/control_charts.csv
suppressPackageStartupMessages(library(spc))
cat(sprintf("# R version %s.%s; spc %s\n", R.version$major, R.version$minor, packageVersion("spc")))
cat("chart,first,limit,shift,run_length\n")
row <- function(chart, first, limit, shift, value) cat(sprintf("%s,%g,%g,%g,%.10g\n", chart, first, limit, shift, value))
for (k in c(.25, .5, 1)) for (h in c(3, 4, 5)) for (mu in c(0, .5, 1)) {
  row("both", k, h, mu, xcusum.arl(k, h, mu, sided = "two", r = 100))
  row("upper", k, h, mu, xcusum.arl(k, h, mu, sided = "one", r = 100))
}
for (l in c(.05, .1, .25, .5)) for (c in c(2.5, 2.814, 3)) for (mu in c(0, .5, 1)) {
  row("ewma", l, c, mu, xewma.arl(l, c, mu, sided = "two", r = 80))
}
for (arl in c(50, 370, 10000)) {
  row("design both", .5, xcusum.crit(.5, arl, sided = "two", r = 100), 0, arl)
  row("design ewma", .1, xewma.crit(.1, arl, sided = "two", r = 80), 0, arl)
}
