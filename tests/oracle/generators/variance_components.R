# Reference figures for variance components.
# Run:  Rscript tests/oracle/generators/variance_components.R > tests/oracle/data/variance_components.csv
# Needs (Debian): r-base-core r-cran-lme4 r-cran-metafor
suppressPackageStartupMessages({library(lme4); library(metafor)})
options(warn = -1, digits = 15)
cat("# ", R.version.string, "; ", sep = "")
for (p in c("lme4", "metafor")) cat(p, " ", as.character(packageVersion(p)), "; ", sep = "")
cat("\nfamily,case,source,figure,value\n")
out <- function(family, case, source, figure, value) cat(family, ",", case, ",\"", source, "\",", figure, ",", sprintf("%.15g", value), "\n", sep = "")
tri <- function(family, case, source, v) for (i in 1:3) out(family, case, source, c("value", "low", "high")[i], v[i])

# The data sets of lme4's manual; a third of the second one is left out to unbalance it. Values and labels are printed for the tests.
half <- Penicillin[(seq_len(nrow(Penicillin)) * 7) %% 3 != 0, ]
sets <- list(dyestuff = list(d = Dyestuff, y = "Yield", f = c("Batch")), dyestuff2 = list(d = Dyestuff2, y = "Yield", f = c("Batch")), penicillin = list(d = Penicillin, y = "diameter", f = c("plate", "sample")), unbalanced = list(d = half, y = "diameter", f = c("plate", "sample")), pastes = list(d = transform(Pastes, cask = interaction(batch, cask, drop = TRUE)), y = "strength", f = c("batch", "cask")))
control <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e6))
for (name in names(sets)) { d <- sets[[name]]$d; y <- d[[sets[[name]]$y]]; f <- sets[[name]]$f
  for (i in seq_along(y)) { out("data-y", paste(name, i, sep = "/"), "lme4", "y", y[i]); for (k in f) out(paste0("data-", k), paste(name, i, sep = "/"), "lme4", "label", as.integer(factor(d[[k]]))[i]) }
  m <- lmer(as.formula(paste("y ~", paste0("(1|", f, ")", collapse = "+"))), data = cbind(d, y = y), REML = TRUE, control = control)
  v <- as.data.frame(VarCorr(m)); for (k in f) out("sd", paste(name, k, sep = "/"), "lme4::lmer", "value", v$sdcor[v$grp == k]); out("sd", paste(name, "residual", sep = "/"), "lme4::lmer", "value", sigma(m)); out("deviance", name, "lme4::lmer", "value", REMLcrit(m)); out("mean", name, "lme4::lmer", "value", fixef(m))
  # Profile limits of the restricted likelihood, from another package.
  e <- cbind(d, y = y, obs = seq_along(y)); r <- rma.mv(y, V = 0, random = c(lapply(f, function(k) as.formula(paste("~1|", k))), ~1|obs), data = e, sparse = FALSE, control = list(optimizer = "bobyqa", rhoend = 1e-10))
  if (name != "dyestuff2") { ci <- confint(r, control = list(tol = 1e-10)); for (j in seq_along(c(f, "residual"))) { w <- ci[[j]]$random; out("sd-profile", paste(name, c(f, "residual")[j], sep = "/"), "metafor::rma.mv", "low", w[2, 2]); out("sd-profile", paste(name, c(f, "residual")[j], sep = "/"), "metafor::rma.mv", "high", w[2, 3]) } } }

# One-way and gauge studies by stats::anova. Ten patients, three cameras, two repeats.
i <- 0:59; p <- i %/% 6; o <- (i %/% 2) %% 3; y <- round(50 + 6 * sin(p * 2.3) + 1.5 * cos(o * 2 + 0.5) + 0.8 * sin(p * 1.7 + o * 2.9) + 0.6 * sin(i * 12.9898), 2)
A <- anova(lm(y ~ factor(p) * factor(o))); MS <- A$"Mean Sq"; DF <- A$Df
out("gauge", "ten", "stats::anova", "patient", sqrt((MS[1] - MS[3]) / 6)); out("gauge", "ten", "stats::anova", "operator", sqrt((MS[2] - MS[3]) / 20)); out("gauge", "ten", "stats::anova", "interaction", sqrt((MS[3] - MS[4]) / 2)); out("gauge", "ten", "stats::anova", "repeatability", sqrt(MS[4]))
m <- lmer(y ~ (1|p) + (1|o) + (1|po), data = data.frame(y, p, o, po = paste(p, o)), control = control); v <- as.data.frame(VarCorr(m))
for (k in c("p", "o", "po")) out("gauge-reml", "ten", "lme4::lmer", k, v$sdcor[v$grp == k]); out("gauge-reml", "ten", "lme4::lmer", "residual", sigma(m))
out("gauge", "ten", "stats::anova", "reproducibility", sqrt((MS[2] - MS[3]) / 20 + (MS[3] - MS[4]) / 2)); out("gauge", "ten", "stats::anova", "total", sqrt((MS[2] - MS[3]) / 20 + (MS[3] - MS[4]) / 2 + MS[4]))
q <- sqrt(MS[4] * DF[4] / qchisq(c(.975, .025), DF[4])); out("gauge", "ten", "stats::qchisq", "repeatability-low", q[1]); out("gauge", "ten", "stats::qchisq", "repeatability-high", q[2])
# Modified large-sample limits of a difference of two mean squares (patient) and of a sum (total), written out.
G <- function(n) 1 - n / qchisq(.975, n); H <- function(n) n / qchisq(.025, n) - 1; a <- MS[1] / 6; b <- MS[3] / 6; Fu <- qf(.975, DF[1], DF[3]); Fl <- qf(.025, DF[1], DF[3])
lo <- a - b - sqrt((G(DF[1]) * a)^2 + (H(DF[3]) * b)^2 + ((Fu - 1)^2 - G(DF[1])^2 * Fu^2 - H(DF[3])^2) / Fu * a * b); hi <- a - b + sqrt((H(DF[1]) * a)^2 + (G(DF[3]) * b)^2 + ((1 - Fl)^2 - H(DF[1])^2 * Fl^2 - G(DF[3])^2) / Fl * a * b)
out("gauge", "ten", "Ting et al. 1990", "patient-low", sqrt(lo)); out("gauge", "ten", "Ting et al. 1990", "patient-high", sqrt(hi))
s <- c(MS[2] / 20, 9 / 20 * MS[3], MS[4] / 2); n <- DF[2:4]; t <- sum(s); out("gauge", "ten", "Graybill & Wang 1980", "total-low", sqrt(t - sqrt(sum((G(n) * s)^2)))); out("gauge", "ten", "Graybill & Wang 1980", "total-high", sqrt(t + sqrt(sum((H(n) * s)^2))))
g <- c(0,0,0,1,1,2,2,2,2,3,3,3,4,4); x <- c(3.1,3.4,2.9,4.0,4.4,2.2,2.0,2.5,2.4,3.9,3.5,3.6,5.1,4.7); B <- anova(lm(x ~ factor(g))); ni <- table(g); n0 <- (14 - sum(ni^2) / 14) / 4
out("one-way", "unbalanced", "stats::anova", "between", sqrt((B$"Mean Sq"[1] - B$"Mean Sq"[2]) / n0)); out("one-way", "unbalanced", "stats::anova", "within", sqrt(B$"Mean Sq"[2]))
