# ROC figures by pROC, and Obuchowski's clustered variance by plain loops (a second derivation).
# Rerun from the root of the checkout: Rscript tests/oracle/generators/roc.R
suppressMessages(library(pROC))
d <- read.csv("tests/oracle/data/two_class.csv")
sets <- list(all = seq_len(nrow(d)), first60 = 1:60, last150 = (nrow(d) - 149):nrow(d), first25 = 1:25)
rows <- list()
put <- function(set, score, name, value) rows[[length(rows) + 1]] <<- list(set, score, name, value)
area <- function(r, ...) as.numeric(auc(r, ...))

obuchowski <- function(y, s, id) {
  pos <- which(y == 1); neg <- which(y == 0)
  psi <- outer(s[pos], s[neg], function(a, b) (a > b) + 0.5 * (a == b))
  theta <- mean(psi)
  v10 <- rowMeans(psi); v01 <- colMeans(psi)
  ids <- unique(id); I <- length(ids); m <- length(pos); n <- length(neg)
  I10 <- sum(sapply(ids, function(i) any(id[pos] == i))); I01 <- sum(sapply(ids, function(i) any(id[neg] == i)))
  s10 <- s01 <- s11 <- 0
  for (i in ids) {
    a <- sum(v10[id[pos] == i] - theta); b <- sum(v01[id[neg] == i] - theta)
    s10 <- s10 + a^2; s01 <- s01 + b^2; s11 <- s11 + a * b
  }
  s10 <- s10 * I10 / ((I10 - 1) * m); s01 <- s01 * I01 / ((I01 - 1) * n); s11 <- s11 * I / (I - 1)
  s10 / m + s01 / n + 2 * s11 / (m * n)
}

for (k in names(sets)) {
  x <- d[sets[[k]], ]
  roc_of <- function(s) roc(x$reference, x[[s]], levels = c(0, 1), direction = "<", quiet = TRUE)
  for (s in c("score_a", "score_b")) {
    r <- roc_of(s)
    put(k, s, "auroc", area(r))
    put(k, s, "delong_variance", var(r, method = "delong"))
    for (level in c(0.90, 0.95, 0.99)) {
      ci <- as.numeric(ci.auc(r, conf.level = level, method = "delong"))
      put(k, s, sprintf("delong_low_%d", round(100 * level)), ci[1])
      put(k, s, sprintf("delong_high_%d", round(100 * level)), ci[3])
    }
    put(k, s, "obuchowski_variance", obuchowski(x$reference, x[[s]], x$patient))
    for (focus in c("specificity", "sensitivity")) for (limit in c(0.9, 0.8, 0.5)) {
      tag <- sprintf("partial_%s_%d_100", focus, round(100 * limit))
      put(k, s, tag, area(r, partial.auc = c(1, limit), partial.auc.focus = focus))
      put(k, s, paste0(tag, "_corrected"),
          suppressWarnings(area(r, partial.auc = c(1, limit), partial.auc.focus = focus, partial.auc.correct = TRUE)))
    }
    tag <- "partial_specificity_60_85"
    put(k, s, tag, area(r, partial.auc = c(0.85, 0.6), partial.auc.focus = "specificity"))
    put(k, s, paste0(tag, "_corrected"),
        suppressWarnings(area(r, partial.auc = c(0.85, 0.6), partial.auc.focus = "specificity", partial.auc.correct = TRUE)))
    for (at in c(0.7, 0.8, 0.9, 0.95)) {
      put(k, s, sprintf("sensitivity_at_specificity_%d", round(100 * at)),
          as.numeric(coords(r, at, input = "specificity", ret = "sensitivity", transpose = TRUE)))
      put(k, s, sprintf("specificity_at_sensitivity_%d", round(100 * at)),
          as.numeric(coords(r, at, input = "sensitivity", ret = "specificity", transpose = TRUE)))
    }
  }
  a <- roc_of("score_a"); b <- roc_of("score_b")
  t <- roc.test(a, b, method = "delong", paired = TRUE)
  put(k, "both", "paired_z", as.numeric(t$statistic))
  put(k, "both", "paired_p", as.numeric(t$p.value))
  put(k, "both", "paired_low_95", t$conf.int[1])
  put(k, "both", "paired_high_95", t$conf.int[2])
  put(k, "both", "delong_covariance", cov(a, b, method = "delong"))
}
a <- roc(d$reference[1:200], d$score_a[1:200], levels = c(0, 1), direction = "<", quiet = TRUE)
b <- roc(d$reference[201:380], d$score_b[201:380], levels = c(0, 1), direction = "<", quiet = TRUE)
t <- roc.test(a, b, method = "delong", paired = FALSE)
put("split", "both", "unpaired_d", as.numeric(t$statistic))
put("split", "both", "unpaired_var", var(a) + var(b))
set.seed(1)
se <- ci.se(roc(d$reference, d$score_b, levels = c(0, 1), direction = "<", quiet = TRUE), specificities = c(0.7, 0.8, 0.9),
            boot.n = 10000, boot.stratified = TRUE, progress = "none")
for (i in 1:3) {
  put("all", "score_b", sprintf("boot_se_low_%d", c(70, 80, 90)[i]), se[i, 1])
  put("all", "score_b", sprintf("boot_se_high_%d", c(70, 80, 90)[i]), se[i, 3])
}

out <- "tests/oracle/data/roc.csv"
writeLines(c(paste("#", R.version.string, "pROC", packageVersion("pROC"), "tests/oracle/generators/roc.R"),
             "set,score,statistic,value",
             sapply(rows, function(r) sprintf("%s,%s,%s,%s", r[[1]], r[[2]], r[[3]], format(r[[4]], digits = 15)))), out)
