# Reference figures for resampled reference panels and agreement of change.
# Run:  Rscript tests/oracle/generators/truth_panel.R > tests/oracle/data/truth_panel.csv
# Needs (Debian): r-base-core
options(warn = -1, digits = 15)
cat("# ", R.version.string, ";\nfamily,case,source,figure,value\n", sep = "")
out <- function(family, case, source, figure, value) cat(family, ",", case, ",\"", source, "\",", figure, ",", sprintf("%.15g", value), "\n", sep = "")
tri <- function(family, case, source, v) for (i in 1:3) out(family, case, source, c("value", "low", "high")[i], v[i])

# A panel of three readers over twelve cases: every one of the 27 ordered draws of three readers, majority of the votes drawn.
votes <- rbind(c(1,1,1),c(1,1,0),c(1,0,0),c(0,0,0),c(0,1,0),c(1,1,1),c(1,0,1),c(0,0,1),c(0,0,0),c(1,1,1),c(0,1,1),c(0,0,0)); call <- c(1,1,0,0,1,1,1,0,0,1,0,0); score <- c(.9,.8,.4,.1,.6,.7,.3,.2,.35,.95,.65,.15)
E <- as.matrix(expand.grid(1:3, 1:3, 1:3)); f <- apply(E, 1, function(r) { y <- rowSums(votes[, r]) >= 2; c(mean(call[y == 1]), mean(1 - call[y == 0]), { k <- outer(score[y == 1], score[y == 0], function(a, b) (a > b) + .5 * (a == b)); mean(k) }) })
for (j in 1:3) { metric <- c("sensitivity", "specificity", "auroc")[j]; out("panel", metric, "all 27 draws", "mean", mean(f[j, ])); out("panel", metric, "all 27 draws", "sd", sqrt(mean((f[j, ] - mean(f[j, ]))^2))); out("panel", metric, "all 27 draws", "min", min(f[j, ])); out("panel", metric, "all 27 draws", "max", max(f[j, ]))
  for (r in 1:3) { y <- votes[, r]; out("panel", metric, "each reader alone", paste0("reader-", r), c(mean(call[y == 1]), mean(1 - call[y == 0]), mean(outer(score[y == 1], score[y == 0], function(a, b) (a > b) + .5 * (a == b))))[j]) } }

# Agreement of change between two visits.
d1 <- c(10.2,14.5,9.8,22.1,17.3,30.4,12.0,25.6,18.8,21.0); d2 <- c(8.1,15.9,5.2,23.0,21.9,20.3,12.4,31.5,13.0,20.2); r1 <- c(10.0,15.0,9.1,21.5,18.0,29.0,12.6,26.0,18.0,20.4); r2 <- c(8.6,15.2,6.4,22.9,21.0,21.5,12.0,30.1,14.2,20.6)
x <- (d2 - d1) - (r2 - r1); s <- sd(x); z <- qnorm(.975); k <- qt(c(.025, .975), 9, sqrt(10) * z) / sqrt(10); tri("change", "bias", "stats::t.test", c(mean(x), t.test(x)$conf.int)); tri("change", "upper", "non-central t of stats::qt", c(mean(x) + z * s, mean(x) + k * s)); tri("change", "lower", "non-central t of stats::qt", c(mean(x) - z * s, mean(x) - rev(k) * s))
cat3 <- function(c) cut(c, c(-Inf, -.30, .20, Inf), labels = FALSE); pd <- (d2 - d1) / d1; pr <- (r2 - r1) / r1; agree <- cat3(pd) == cat3(pr); tri("change", "category-agreement", "stats::binom.test", c(mean(agree), binom.test(sum(agree), 10)$conf.int))
